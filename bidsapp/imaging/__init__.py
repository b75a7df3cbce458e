"""Image registration, motion and distortion: images and affines in, images and matrices out."""

from bidsapp.imaging.registration.register import Registration, register

__all__ = ["Registration", "register"]
