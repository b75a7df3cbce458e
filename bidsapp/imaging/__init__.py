"""Image registration, motion and distortion: images and affines in, images and matrices out."""

from bidsapp.imaging.registration.register import register
from bidsapp.imaging.registration.result import Registration

__all__ = ["Registration", "register"]
