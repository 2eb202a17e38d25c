"""Presets, systems, settings, training, and the store of what was trained and measured."""

from reproduction.run.preset import Preset
from reproduction.run.settings import SettingsError, TrainingSettings
from reproduction.run.store import Store
from reproduction.run.system import HYBRID, SYSTEMS, UNTRAINED, XX, XY, System
from reproduction.run.training import check_device, sampler_of, train

__all__ = ["HYBRID", "SYSTEMS", "UNTRAINED", "XX", "XY", "Preset", "SettingsError", "Store", "System",
           "TrainingSettings", "check_device", "sampler_of", "train"]
