"""Draw docs/run.svg: a real run of examples/desk.py on the embedded model, as the terminal shows it.

Run it again whenever the output's form changes: `.venv/bin/python docs/picture.py`.
"""

import asyncio
import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from loopwright import load, run_agent
from loopwright.cli_render import RunPrinter
from loopwright.inference.connect import connect

HERE = Path(__file__).parent
TASK = "how many km are 12 miles"
COMMAND = f'loopwright run examples/desk.py "{TASK}"'


async def main() -> None:
    """Run the task and write the picture."""
    console = Console(record=True, width=96, file=io.StringIO(), highlight=False)
    console.print(f"[bold green]$[/] {COMMAND}")
    agent = load(str(HERE.parent / "examples" / "desk.py"))[0]
    async with connect() as endpoint:
        await run_agent(agent, TASK, endpoint=endpoint, on_event=RunPrinter(console.print).show)
    without_web_fonts = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="loopwright", code_format=without_web_fonts, unique_id="run")
    (HERE / "run.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
