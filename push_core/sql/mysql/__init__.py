"""What is MySQL's and MariaDB's alone: connections and their options, forms of bulk statements, errors, partitions by day."""
