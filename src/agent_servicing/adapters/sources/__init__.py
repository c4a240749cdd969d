"""Where versions come from: git repositories, Python packages, folders and archives. Each module with a `…Source` is one driver."""
