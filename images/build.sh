#!/usr/bin/env bash
# Builds the four images, and the scripted LLM of the tests on a cluster, and writes them as docker-archive tars: images/build.sh FOLDER
#
# From the environment, all of it optional but TAG:
#   TAG, REGISTRY   the images are called REGISTRY/hemline-transformer:TAG, and so on
#   BUILDER         docker, podman or buildah; the first that is here
#   BASE            another base image than the Dockerfile's
#   HOST_BUILD      1: binaries are compiled on this machine, 0: in a container. With buildah 1, for it is the builder of machines
#                   without an engine, and often without a way to an image that has a compiler; else 0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1
: "${TAG:?a tag for the images}"
REGISTRY=${REGISTRY:-localhost} BASE=${BASE:-} BUILDER=${BUILDER:-} HOST_BUILD=${HOST_BUILD:-}

say() { printf '%s\n' "$*" >&2; }

if [ -z "$BUILDER" ]; then
  for BUILDER in docker podman buildah none; do
    # A client without an engine answers only to questions about itself.
    case $BUILDER in
      docker) docker info >/dev/null 2>&1 && break ;;
      podman | buildah) command -v "$BUILDER" >/dev/null && break ;;
    esac
  done
fi

[ -n "$HOST_BUILD" ] || { [ "$BUILDER" = buildah ] && HOST_BUILD=1 || HOST_BUILD=0; }

arguments=(--build-arg "VERSION=$TAG" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)" --build-arg "SOURCE=${SOURCE:-}")
[ -z "$BASE" ] || arguments+=(--build-arg "BASE=$BASE")
if [ "$HOST_BUILD" = 1 ]; then
  make image-binaries
  arguments+=(--build-context build=dist/build)
fi

mkdir -p "$folder"
for component in transformer predictor-gbdt predictor-llm storefront scripted-llm; do
  from=(--file images/Dockerfile --target "$component")
  if [ "$component" = scripted-llm ]; then
    from=(--file e2e/cluster/Dockerfile)
    [ "$HOST_BUILD" = 0 ] || from+=(--build-context python=dist/python)
  fi
  image=$REGISTRY/hemline-$component:$TAG tar=$folder/hemline-$component.tar
  say "building $image"
  rm -f "$tar"
  case $BUILDER in
    docker)
      docker buildx build --quiet --load "${from[@]}" --tag "$image" "${arguments[@]}" . >&2
      docker save --output "$tar" "$image"
      ;;
    podman)
      podman build --quiet "${from[@]}" --tag "$image" "${arguments[@]}" . >&2
      podman save --quiet --format docker-archive --output "$tar" "$image"
      ;;
    buildah)
      # Without privileges of its own, as in a container.
      buildah bud --quiet --isolation chroot "${from[@]}" --tag "$image" "${arguments[@]}" . >&2
      buildah push --quiet "$image" "docker-archive:$tar:$image"
      ;;
    *)
      say "docker, podman or buildah is needed"
      exit 69
      ;;
  esac
done
ls -l "$folder"/*.tar >&2
