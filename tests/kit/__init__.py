"""What tests are made with: certificates, stacks, servers, fakes. Holds no test."""
