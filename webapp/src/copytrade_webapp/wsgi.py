"""The app for gunicorn; made in the worker, which then starts it (`gunicorn_conf.post_worker_init`)."""

from .app import create_app

app = create_app()
