"""`python -m services.followup`: run, rebuild, verify."""

from services.followup.bootstrap import SERVICE
from shared.processing.commands import service_app

app = service_app(SERVICE)

if __name__ == "__main__":
    app()
