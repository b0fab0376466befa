"""The dbt plugin under its old name; `rasteret_sql.integrations.dbt` is the new one."""

from rasteret_sql.integrations.dbt import Plugin

__all__ = ["Plugin"]
