"""`python -m services.segmentation`: run, rebuild, verify."""

from services.segmentation.bootstrap import SERVICE
from shared.processing.commands import service_app

if __name__ == "__main__":
    service_app(SERVICE)()
