"""The family `timm`: image towers that open_clip lacks, such as DINOv3's."""
