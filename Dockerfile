# One image for every process of the full stack; docker-compose.yml says which command each runs.
FROM python:3.12-slim

# What pip is told to install as torch; the default has no GPU support where the index offers such a build.
ARG TORCH="torch==2.13.*"

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    SUITE_STATE=/var/lib/suite
RUN useradd --system --uid 10001 --create-home suite && install -d -o suite -g suite /var/lib/suite
WORKDIR /app

RUN pip install ${TORCH}
COPY pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /tmp/requirements.txt && pip install -r /tmp/requirements.txt && rm /tmp/requirements.txt

COPY manage.py ./
COPY suite suite
COPY domains domains
COPY workers workers
COPY templates templates
COPY static static
COPY benchmarks benchmarks

USER suite
VOLUME /var/lib/suite
EXPOSE 8000
CMD ["uvicorn", "suite.asgi:application", "--host", "0.0.0.0", "--lifespan", "off", "--no-access-log"]
