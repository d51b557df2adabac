import pytest
import torch

from mss_models.streaming import StreamSettings, stream
from mss_models.transfer import Transfer
from toys import Gains


def test_on_a_cpu_estimates_come_back_at_once():
    transfer = Transfer(torch.device("cpu"))
    window = transfer.window(2, 100)
    assert torch.equal(transfer.upload(window), torch.zeros(2, 100))
    estimates = torch.randn(4, 2, 10)
    assert torch.equal(transfer.download(estimates, last=False)[0], estimates)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_estimates_come_one_batch_late_and_whole():
    transfer = Transfer(torch.device("cuda"))
    batches = [torch.randn(4, 2, 1000, device="cuda") for _ in range(5)]
    arrived = [part for batch in batches[:-1] for part in transfer.download(batch, last=False)]
    assert len(arrived) == 3
    arrived += transfer.download(batches[-1], last=True)
    for host, batch in zip(arrived, batches, strict=True):
        assert torch.equal(host, batch.cpu())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batch_size", [1, 4])
def test_on_a_gpu_a_track_streams_to_the_same_samples_as_on_a_cpu(batch_size):
    track = torch.randn(2, 50_000)
    settings = StreamSettings(3000, batch_size=batch_size)
    outputs = []
    for name in ("cpu", "cuda"):
        blocks = [track[:, start : start + 777] for start in range(0, 50_000, 777)]
        outputs.append(torch.cat(list(stream(Gains(), blocks, settings, device=torch.device(name))), dim=-1))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-6, rtol=0)
