"""What records and demonstrations share: public data, chains of commands, a server on loopback."""
