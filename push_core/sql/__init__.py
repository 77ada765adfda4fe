"""The SQL adapter shared by the message, device and control stores: engine, threads, tables, migrations, bulk statements.

Threads live in here and nowhere else: the drivers block. Only this folder and `push_core/*/sql.py` import sqlalchemy or alembic.
"""
