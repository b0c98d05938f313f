"""Read on where a long result was cut: the full text is kept as an artifact of the run."""

from ...errors import ToolError
from ..context import Context
from ..decorator import tool

PAGE = 4_000
"""Characters of one page."""

MAX_ID = 200


@tool(effect="read", timeout_s=10, max_result_tokens=2 * PAGE)
async def read_artifact(artifact_id: str, offset: int = 0, *, context: Context) -> str:
    """Read one page of a long result that was cut short.

    Args:
        artifact_id: The id given where the result was cut.
        offset: Character to begin at; each page says where the next begins.
    """
    if len(artifact_id) > MAX_ID:
        raise ToolError(f"an artifact id has at most {MAX_ID} characters")
    text = await context.read_artifact(artifact_id)
    if text is None:
        raise ToolError(f"this run has no artifact {artifact_id!r}")
    if not 0 <= offset <= len(text):
        raise ToolError(f"offset must lie between 0 and {len(text)}, the length of the artifact")
    end = min(offset + PAGE, len(text))
    where = f"next page: offset {end}" if end < len(text) else "end"
    return f"{text[offset:end]}\n[characters {offset} to {end} of {len(text)}; {where}]"
