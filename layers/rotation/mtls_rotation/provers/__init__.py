"""What proves a certificate at an endpoint: a module for each protocol, chosen by the URL's scheme (`registry`)."""
