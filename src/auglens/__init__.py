"""auglens: what does a training augmentation change in what an image classifier looks at?"""

__version__ = "0.1.0"
