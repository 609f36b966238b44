"""Examples that hypothesis makes may take as long as they do: a machine has other things to do, too."""

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
