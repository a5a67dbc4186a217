# piva on a GPU: docker build -t piva . && docker run --gpus all -v $PWD:/work -v piva-cache:/cache piva edit cat.png "a cat" "a dog" profile=gpu
# CUDA, Python 3.11 and torch as pyproject.toml wants them; gcc is for Triton's launchers and the compiled networks.
FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime

RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY . /opt/piva
RUN pip install --no-cache-dir '/opt/piva[joblib,submitit,view,wandb]'
ENV PIVA_CACHE=/cache
WORKDIR /work
ENTRYPOINT ["piva"]
