"""A trained model that is used: on files, arrays, folders, videos and cameras."""

from .loading import load_model
from .predictor import Predictor
from .result import Result

__all__ = ["Predictor", "Result", "load_model"]
