"""Draw with VTK, an independent rasteriser, what tests put into GLBs: from the arrays, not from the files."""

from dataclasses import dataclass

import numpy as np

AMBIENT, DIFFUSE, SKY = 0.66, 0.44, 0.06  # of the light that piva's renderers share
SUN = (-0.40, -0.62, 0.68)


@dataclass
class Thing:
    """One mesh in a world whose z points up."""

    points: np.ndarray  # (n, 3)
    faces: np.ndarray  # (m, 3)
    normals: np.ndarray | None = None  # (n, 3)
    uv: np.ndarray | None = None  # (n, 2), v down as in glTF
    texture: np.ndarray | None = None  # (h, w, 3 or 4) uint8
    wrap: str = "Repeat"  # or MirroredRepeat, ClampToEdge
    colours: np.ndarray | None = None  # (n, 3) uint8 as they are to be seen, instead of a texture


def draw(things, c2w, size, fov_deg, lit):
    """Return colours (h, w, 3) in [0, 1] on black, and depth (h, w) along the axis, 0 = no hit."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    renderer = vtk.vtkRenderer()
    renderer.SetBackground(0, 0, 0)
    renderer.AutomaticLightCreationOff()
    for direction, strength in ((SUN, DIFFUSE), ((0, 0, 1), SKY), ((0, 0, -1), -SKY)):
        light = vtk.vtkLight()
        light.SetLightTypeToSceneLight()
        light.SetPositional(False)
        light.SetPosition(direction)
        light.SetFocalPoint(0, 0, 0)
        light.SetIntensity(strength)
        renderer.AddLight(light)
    for thing in things:
        renderer.AddActor(_actor(thing, lit))
    c2w = np.asarray(c2w, float)
    camera = renderer.GetActiveCamera()
    camera.SetPosition(c2w[:3, 3])
    camera.SetFocalPoint(c2w[:3, 3] - c2w[:3, 2])
    camera.SetViewUp(c2w[:3, 1])
    camera.SetViewAngle(fov_deg)
    near, far = 1.0, 10.0
    camera.SetClippingRange(near, far)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(size, size)
    window.AddRenderer(renderer)
    window.Render()
    pixels, buffer = vtk.vtkUnsignedCharArray(), vtk.vtkFloatArray()
    window.GetRGBACharPixelData(0, 0, size - 1, size - 1, 1, pixels)
    window.GetZbufferData(0, 0, size - 1, size - 1, buffer)
    rgb = vtk_to_numpy(pixels).reshape(size, size, 4)[::-1, :, :3] / 255
    z = vtk_to_numpy(buffer).reshape(size, size)[::-1].astype(float)
    window.Finalize()
    return rgb, np.where(z < 1, near * far / (far - z * (far - near)), 0)


def _actor(thing, lit):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    data = vtk.vtkPolyData()
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(thing.points, np.float64), deep=True))
    data.SetPoints(points)
    cells = vtk.vtkCellArray()
    for face in thing.faces:
        cells.InsertNextCell(3, [int(i) for i in face])
    data.SetPolys(cells)
    if thing.normals is not None:
        data.GetPointData().SetNormals(
            numpy_to_vtk(np.ascontiguousarray(thing.normals, np.float64), deep=True)
        )
    if thing.uv is not None:
        up = np.column_stack([thing.uv[:, 0], 1 - thing.uv[:, 1]])
        data.GetPointData().SetTCoords(numpy_to_vtk(up, deep=True))
    if thing.colours is not None:
        data.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(thing.colours), deep=True))
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputData(data)
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetInterpolationToPhong() if thing.normals is not None else look.SetInterpolationToFlat()
    look.SetAmbient(AMBIENT)
    look.SetDiffuse(1)
    look.SetLighting(lit)
    if thing.texture is not None:
        image = vtk.vtkImageData()
        height, width, channels = thing.texture.shape
        image.SetDimensions(width, height, 1)
        flipped = np.ascontiguousarray(thing.texture[::-1]).reshape(-1, channels)
        image.GetPointData().SetScalars(numpy_to_vtk(flipped, deep=True))
        texture = vtk.vtkTexture()
        texture.SetInputData(image)
        texture.SetWrap(getattr(vtk.vtkTexture, thing.wrap))
        texture.InterpolateOn()
        actor.SetTexture(texture)
        actor.ForceOpaqueOn()
    return actor
