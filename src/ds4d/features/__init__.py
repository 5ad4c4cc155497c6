"""Frame features: maps of feature vectors of every image, by a frozen network or a fixed filter bank."""

from ds4d.features.dinov2 import Dinov2 as Dinov2
from ds4d.features.dinov2 import Dinov2Config as Dinov2Config
from ds4d.features.dinov2 import dinov2_weights as dinov2_weights
from ds4d.features.extraction import EXTRACTORS as EXTRACTORS
from ds4d.features.extraction import ExtractorName as ExtractorName
from ds4d.features.extraction import FeatureExtractor as FeatureExtractor
from ds4d.features.extraction import FeaturesConfig as FeaturesConfig
from ds4d.features.extraction import choose_extractor as choose_extractor
from ds4d.features.extraction import extract_features as extract_features
from ds4d.features.filters import FilterBank as FilterBank
from ds4d.features.filters import FilterBankConfig as FilterBankConfig
