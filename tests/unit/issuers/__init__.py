"""What every issuer promises, what each needs of the template, and a further one."""
