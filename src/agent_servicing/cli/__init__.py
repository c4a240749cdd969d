"""The command line `servicing`: typed words in, calls of the public HTTP API out. Only `server.py` and `demo.py` reach into the program itself."""
