"""`python -m services.feedback run | rebuild | verify`."""

from services.feedback.bootstrap import SERVICE
from shared.processing.commands import service_app

if __name__ == "__main__":
    service_app(SERVICE)()
