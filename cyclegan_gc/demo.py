"""The whole road on generated phantoms: train unpaired, convert held-out subjects, evaluate against the truth."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from cyclegan_gc.config import ConvertConfig, DataConfig, DemoConfig, TrainConfig, WandbConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.data.phantom import write_phantoms
from cyclegan_gc.evaluate.baselines import load_histogram_model
from cyclegan_gc.evaluate.cases import evaluate
from cyclegan_gc.evaluate.summary import summary_table
from cyclegan_gc.train.loop import LAST, train
