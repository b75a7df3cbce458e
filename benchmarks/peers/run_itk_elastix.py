"""elastix by itk-elastix: Mattes mutual information, rigid and then affine."""

from registering import THREADS, from_points, run  # first: it sets the threads

import itk  # isort: skip

KINDS = {"EulerTransform": itk.Euler3DTransform, "AffineTransform": itk.AffineTransform}
STAGES = {"affine": ("rigid", "affine"), "rigid": ("rigid",)}
TUNED = {
    "NumberOfSpatialSamples": ["10000"],
    "NewSamplesEveryIteration": ["true"],
    "MaximumNumberOfIterations": ["500"],
    "AutomaticTransformInitialization": ["true"],
    "AutomaticTransformInitializationMethod": ["GeometricalCenter"],
    "AutomaticScalesEstimation": ["true"],
    "RandomSeed": ["1"],
    "WriteResultImage": ["false"],
}


def register(pair):
    fixed, moving = (itk.imread(pair[name], itk.F) for name in ("fixed", "moving"))
    asked = itk.ParameterObject.New()
    schedule = pyramid(moving)
    for stage in STAGES[pair["transform"]]:
        values = asked.GetDefaultParameterMap(stage, 4)
        for name, value in TUNED.items():
            values[name] = value
        values["MovingImagePyramidSchedule"] = schedule
        asked.AddParameterMap(values)
    method = itk.ElastixRegistrationMethod.New(fixed, moving)
    method.SetParameterObject(asked)
    method.SetNumberOfThreads(int(THREADS))
    method.LogToConsoleOff()
    method.Update()
    found = method.GetTransformParameterObject()
    stages = [transform(found.GetParameterMap(n)) for n in range(found.GetNumberOfParameterMaps())]

    def moved(point):
        for stage in stages:
            point = stage.TransformPoint(point)
        return list(point)

    return from_points(moved)


def pyramid(image):
    """Return how much to blur at each resolution: thick slices less, or nothing is left of them."""
    spacing = [float(size) for size in image.GetSpacing()]
    factors = [(f * min(spacing) / size for size in spacing) for f in (8, 4, 2, 1)]
    return [str(max(1, round(f))) for level in factors for f in level]


def transform(values):
    """Return the ITK transform of one stage; elastix puts the first stage inside."""
    result = KINDS[values["Transform"][0]][
        (itk.D, 3) if "Affine" in values["Transform"][0] else itk.D
    ].New()
    result.SetFixedParameters(itk_parameters(values["CenterOfRotationPoint"]))
    result.SetParameters(itk_parameters(values["TransformParameters"]))
    return result


def itk_parameters(words):
    result = itk.OptimizerParameters[itk.D](len(words))
    for n, word in enumerate(words):
        result.SetElement(n, float(word))
    return result


run("itk-elastix", {"Mattes, tuned": register})
