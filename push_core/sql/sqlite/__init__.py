"""What is SQLite's alone: files and pragmas, its forms of bulk statements, its errors."""
