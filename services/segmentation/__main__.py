"""`python -m services.segmentation`: run, rebuild, verify, prepare, what-if, calibrate, deliver, chronicle."""

from services.segmentation.bootstrap import SERVICE
from services.segmentation.chronicle import command as chronicle_command
from services.segmentation.rules_commands import add_commands
from services.segmentation.webhooks import bootstrap as deliver
from shared.processing.commands import service_app
from shared.processing.prepare_command import add_prepare

if __name__ == "__main__":
    app = service_app(SERVICE)
    add_prepare(app, SERVICE)
    add_commands(app)
    app.command("deliver")(deliver.command)
    app.command("chronicle")(chronicle_command.command)
    app()
