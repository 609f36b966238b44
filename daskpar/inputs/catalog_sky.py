"""From the sky to space: unit vectors, and comoving positions through a cosmology.

Sines and distances differ in their last bits between CPUs. So this runs once for each point, in a stage whose
results are stored, and everything later works on those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from daskpar.errors import InputError, RecipeError
from daskpar.inputs.catalog_record import Floats


def unit_vectors(ra: Floats, dec: Floats) -> Floats:
    """Return the directions of points on the sky.

    Parameters
    ----------
    ra, dec : float64, shape (n,)
        Degrees.

    Returns
    -------
    float64, shape (n, 3)
        (cos dec cos ra, cos dec sin ra, sin dec).
    """
    longitude, latitude = np.radians(ra), np.radians(dec)
    across = np.cos(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=1)


def comoving_distance(redshift: Floats, cosmology: Any, unit: str) -> Floats:
    """Return line-of-sight comoving distances, as astropy computes them.

    In a curved universe positions made from them lie on straight axes all the same, as usual in counting.

    Parameters
    ----------
    redshift : float64, shape (n,)
    cosmology : astropy.cosmology.Cosmology
    unit : {"Mpc", "Mpc/h"}
    """
    distance = cosmology.comoving_distance(redshift).to_value("Mpc")
    return np.asarray(distance * cosmology.h if unit == "Mpc/h" else distance, np.float64)


def load_cosmology(cosmology: Any) -> Any:
    """Return an astropy cosmology from itself, a name (``"Planck18"``), or a mapping.

    A mapping names a class of `astropy.cosmology` and its parameters:
    ``{class: FlatLambdaCDM, H0: 70, Om0: 0.3}``; H0 in km/s/Mpc.

    Raises
    ------
    RecipeError
        There is no such cosmology, or its parameters are wrong.
    """
    from astropy import cosmology as known

    if isinstance(cosmology, known.Cosmology):
        return cosmology
    if isinstance(cosmology, str):
        if cosmology not in known.available:
            todo = f"known: {', '.join(known.available)}; or give class and parameters"
            raise RecipeError(f"there is no cosmology {cosmology!r}", todo, key="cosmology")
        return getattr(known, cosmology)
    if not isinstance(cosmology, Mapping) or "class" not in cosmology:
        raise RecipeError("a cosmology is a name, or a class and its parameters", key="cosmology")
    parameters = {name: value for name, value in cosmology.items() if name != "class"}
    kind = getattr(known, str(cosmology["class"]), None)
    if not (isinstance(kind, type) and issubclass(kind, known.Cosmology)):
        raise RecipeError(f"astropy has no cosmology class {cosmology['class']!r}", key="cosmology")
    try:
        return kind(**parameters)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"the cosmology cannot be made: {error}", "change its parameters", key="cosmology"
        ) from error


def positions(values: Mapping[str, Floats], cosmology: Any, unit: str) -> Floats:
    """Return positions in space, or directions where no distance is known; float64, shape (n, 3).

    Parameters
    ----------
    values : mapping of str to float64 array (n,)
        Checked, by role.
    cosmology : astropy.cosmology.Cosmology or None
        Needed where there are redshifts.
    unit : str
        Of the distances.
    """
    if "x" in values:
        return np.stack([values["x"], values["y"], values["z"]], axis=1)
    directions = unit_vectors(values["ra"], values["dec"])
    if "redshift" in values:
        if cosmology is None:
            raise InputError("redshifts need a cosmology", 'give one, as in cosmology="Planck18"')
        directions *= comoving_distance(values["redshift"], cosmology, unit)[:, None]
    elif "distance" in values:
        directions *= values["distance"][:, None]
    return directions
