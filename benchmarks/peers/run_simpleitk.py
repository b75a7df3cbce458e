"""SimpleITK: Mattes mutual information in four resolutions, rigid and then affine."""

from registering import THREADS, from_points, run  # first: it sets the threads

import SimpleITK as sitk  # isort: skip

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(THREADS))


def stage(fixed, moving, initial):
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel([1.0, 0.5, 0.2, 0.05], 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([8, 4, 2, 1])
    method.SetSmoothingSigmasPerLevel([8, 4, 2, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(initial, True)
    method.Execute(fixed, moving)
    return initial


def register(pair):
    fixed, moving = (sitk.ReadImage(pair[k], sitk.sitkFloat32) for k in ("fixed", "moving"))
    how = sitk.CenteredTransformInitializerFilter.GEOMETRY
    start = sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), how)
    found = stage(fixed, moving, sitk.Euler3DTransform(start))
    if pair["transform"] == "affine":
        affine = sitk.AffineTransform(3)
        affine.SetCenter(found.GetCenter())
        affine.SetMatrix(found.GetMatrix())
        affine.SetTranslation(found.GetTranslation())
        found = stage(fixed, moving, affine)
    return from_points(found.TransformPoint)


run("SimpleITK", {"Mattes, tuned": register})
