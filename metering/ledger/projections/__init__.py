"""One module per kind of journal record: turns a record into rows, live and in a rebuild alike."""
