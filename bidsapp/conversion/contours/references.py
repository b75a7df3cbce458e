"""The series of images to which a DICOM file with contours or segments refers."""

from typing import Any

from bidsapp.conversion.contours.drawing import ImageSeries

_MODALITIES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.130": "PET",
}
"""UID of the SOP class of images -> modality, of those that are no T1w."""


def image_series(reference: Any, images: str) -> ImageSeries:
    """Return the series of an item that refers to one.

    Parameters
    ----------
    reference : pydicom.Dataset
        The item, with the UID of the series.
    images : str
        Keyword of the sequence that lists the images of the series.

    Examples
    --------
    >>> ct = {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}
    >>> image_series({"SeriesInstanceUID": "1.2", "ContourImageSequence": [ct] * 9},
    ...              "ContourImageSequence")
    ImageSeries(uid='1.2', count=9, modality='CT')
    """
    listed = reference.get(images) or ()
    classes = {str(image.get("ReferencedSOPClassUID") or "") for image in listed}
    known = sorted({_MODALITIES[one] for one in classes if one in _MODALITIES})
    return ImageSeries(
        str(reference.get("SeriesInstanceUID") or ""), len(listed), "".join(known[:1])
    )
