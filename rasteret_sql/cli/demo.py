"""`rasteret-sql demo`."""
from rasteret_sql.cli.arguments import new_command
def add_parser(commands): new_command(commands,"demo","demo","x")
