"""Routes of agents: what this server can run, with the JSON Schemas of answers and tools."""

from fastapi import APIRouter

from ..agent_info import agent_info
from ..deps import ReadCaller, ServiceDep
from ..models import AgentInfo, Page

router = APIRouter()


@router.get("/agents", operation_id="list_agents", response_model=Page[AgentInfo])
async def list_agents(service: ServiceDep, caller: ReadCaller) -> Page[AgentInfo]:
    """List the agents of this server by name. They are few, so there is one page."""
    return Page[AgentInfo](items=[agent_info(each) for each in service.registry.agents])


@router.get("/agents/{name}", operation_id="get_agent", response_model=AgentInfo)
async def get_agent(name: str, service: ServiceDep, caller: ReadCaller) -> AgentInfo:
    """Return one agent: instructions, limits, the schema of its answer, its tools, and the hash that runs pin."""
    return agent_info(service.registry.get(name))
