from peft.utils import register_peft_method

from .config import MosConfig
from .layer import Linear, MosLayer
from .model import MosModel


__all__ = ["Linear", "MosConfig", "MosLayer", "MosModel"]
register_peft_method(name="mos", config_cls=MosConfig, model_cls=MosModel)
