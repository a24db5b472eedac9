"""Templates: texts with `$name` variables, kept by number."""

from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from shared.errors import TemplateExists
from shared.ledger.database import Database
from shared.ledger.tables import templates


@dataclass(frozen=True, slots=True)
class Template:
    """A text that batches name by its id."""

    id: int
    name: str
    content: str


class TemplateLedger:
    """Look-ups and additions of templates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def content(self, template_id: int) -> str | None:
        """The template's text, or None where there is none of that id."""
        async with self._database.reading() as connection:
            return await connection.scalar(select(templates.c.content).where(templates.c.id == template_id))

    async def all(self) -> list[Template]:
        """Every template, by id."""
        query = select(templates.c.id, templates.c.name, templates.c.content).order_by(templates.c.id)
        async with self._database.reading() as connection:
            return [Template(*row) for row in await connection.execute(query)]

    async def add(self, name: str, content: str, now_ms: int, template_id: int | None = None) -> Template:
        """Keep a template, under an id of its own or the one given; TemplateExists where id or name is taken."""
        values = {"name": name, "content": content, "created_at_ms": now_ms}
        if template_id is not None:
            values["id"] = template_id
        try:
            async with self._database.writing() as connection:
                added = await connection.execute(insert(templates).values(values).returning(templates.c.id))
                return Template(added.scalar_one(), name, content)
        except IntegrityError:
            raise TemplateExists(f"a template with the name {name!r} or that id exists already") from None
