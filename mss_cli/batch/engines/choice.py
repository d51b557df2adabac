"""Which engine does a run, with how many workers, and how many tracks at once in each."""

from collections.abc import Iterator
from contextlib import contextmanager

from mss_cli.batch.cores import Division, divide, this_machine, worker_bytes
from mss_cli.batch.engines.base import Engine
from mss_cli.batch.engines.worker import Brief
from mss_cli.batch.options import BatchOptions, EngineName


@contextmanager
def chosen_engine(
    brief: Brief, options: BatchOptions, *, tracks: int, seconds: float
) -> Iterator[tuple[Engine, Division]]:
    """Choose what goes through the tracks, for as long as the context lasts.

    Parameters
    ----------
    brief : Brief
        As the request has it: device and threads may be left open.
    options : BatchOptions
    tracks : int
        To do.
    seconds : float
        Of audio in them.

    Raises
    ------
    UsageError, DeviceError
        If the cluster asked for is not there or has no such device.
    WeightsError
        If the weights cannot be read.
    """
    request, size = brief.checked.request, worker_bytes(brief.checked.weights)
    if options.engine is EngineName.RAY:
        from mss_cli.batch.cluster import divide_cluster
        from mss_cli.batch.engines.ray import AUTO, RayEngine, joined

        with joined(options.ray_address or AUTO) as nodes:
            division = divide_cluster(
                nodes,
                tracks=tracks,
                seconds=seconds,
                jobs=options.jobs,
                threads=request.threads,
                device=request.device,
                worker_bytes=size,
            )
            yield RayEngine(brief, division, worker_bytes=size, timeout_seconds=options.timeout_seconds), division
        return
    division = divide(
        this_machine(request.device),
        tracks=tracks,
        seconds=seconds,
        jobs=options.jobs,
        threads=request.threads,
        device=request.device,
        worker_bytes=size,
    )
    # With a time limit each track has the device to itself, else it would pay for its neighbours.
    alone = options.jobs is not None or options.timeout_seconds is not None
    if not alone and division.on_cuda and tracks > division.workers:
        from mss_cli.batch.engines.seats import shared_segments

        division = division.seated(tracks=tracks, segments=shared_segments(brief.checked, seconds / tracks))
    # A process that can be killed where one may have to be.
    if division.jobs == 1 and options.timeout_seconds is None:
        from mss_cli.batch.engines.inline import InlineEngine

        yield InlineEngine(brief.at(division.devices[0], threads=division.threads)), division
        return
    from mss_cli.batch.engines.processes import ProcessEngine

    yield ProcessEngine(brief, division, timeout_seconds=options.timeout_seconds), division
