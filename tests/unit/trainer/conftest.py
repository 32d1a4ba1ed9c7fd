import torch

# The networks of these tests are too small for threads to help.
torch.set_num_threads(1)
