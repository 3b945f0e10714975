# The command `copt` in an image: for the CPU, or with CUDA's libraries for NVIDIA GPUs.
#
#   docker build -t copt .
#   docker build -t copt --build-arg DEVICE=cuda .
#   docker run --rm --ipc=host --user "$(id -u):$(id -g)" -v "$PWD:/work" copt demo
#
# On GPUs: `docker run --gpus all ...`. Data sets elsewhere: -v /data:/data -e DETECTRON2_DATASETS=/data

FROM python:3.12-slim AS wheel
COPY pyproject.toml setup.py README.md LICENSE /src/
COPY copt_d2 /src/copt_d2
COPY kernels /src/kernels
COPY tools /src/tools
COPY configs /src/configs
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.12-slim
ARG DEVICE=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# torch and torchvision of one place: a torch for the CPU alone does not go with PyPI's torchvision.
# On a GPU, Triton compiles a small C file when a kernel starts.
# hadolint ignore=DL3008
RUN case "$DEVICE" in \
        cpu) index=https://download.pytorch.org/whl/cpu ;; \
        cuda) index=https://pypi.org/simple; \
            apt-get update; \
            apt-get install --yes --no-install-recommends gcc libc6-dev; \
            rm -rf /var/lib/apt/lists/* ;; \
        *) echo "DEVICE is $DEVICE; it must be cpu or cuda" >&2; exit 1 ;; \
    esac; \
    pip install --no-cache-dir --index-url "$index" torch==2.14.1 torchvision==0.29.1
COPY --from=wheel /wheels /wheels
# the wheel of above, with the extras for video files and ONNX
# hadolint ignore=DL3013
RUN wheels=(/wheels/*.whl); \
    pip install --no-cache-dir "${wheels[0]}[video,export]"; \
    python -m copt_tools.install_detectron2; \
    rm -r /wheels; \
    copt --version
# caches go below HOME, which any --user may write to; some libraries ask for a user's name
ENV HOME=/home/copt USER=copt
RUN useradd --create-home --uid 1000 copt; chmod 1777 /home/copt
USER 1000
WORKDIR /work
ENTRYPOINT ["copt"]
CMD ["--help"]
