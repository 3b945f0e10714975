"""The question of the LLM Domain Template (CoPT, Sec. 3), and example images beside it."""

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

IMAGE_SIDE = 1024  # pixels; larger images cost more and say no more


def domain_question(domain: str, count: int = 15, images: int = 0) -> str:
    """What a language model is asked about a domain.

    Args:
        domain: words for it, such as "night-time street".
        count: number of attributes to ask for.
        images: number of example images that go with the question.
    Raises:
        InputError: for a domain without words or a count below 1.
    """
    if not any(character.isalnum() for character in domain):
        raise InputError(f"the domain {domain!r} is empty: say it in words, 'night-time street'")
    if count < 1:
        raise InputError(f"--count is {count}; it must be 1 or more")
    examples = f"The {images} attached image(s) show the domain. " if images else ""
    return (
        f"{examples}Give detailed descriptions of what makes a {domain} image look {domain}. "
        f"Answer with {count} short visual attributes that may hold for any object in such an "
        "image, whatever its class: name no class of objects. Write each as a phrase that "
        'continues "an object ...", for example "with soft shadows" or "in dim light". '
        "Answer with a JSON list of strings and nothing else."
    )


def image_as_url(path: str | Path) -> str:
    """An image file as a data URL, JPEG, at most ``IMAGE_SIDE`` pixels on its longer side.

    Raises:
        InputError: if it cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits a pixel, which a conversion would cut to white
                image = image.convert("I").point(lambda value: value / 256).convert("L")
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"--image {path}: cannot be read as an image") from error
    picture.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
