"""A cluster on one machine: private Redis, MariaDB and RabbitMQ, and Taco's programs as processes of their own, started again when they die."""
