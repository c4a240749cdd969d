"""The server's own data as one file: rows out of a database and back in, and the file that carries them."""
