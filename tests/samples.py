"""A contract that is right in every field, for tests to bend."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "a" * 64
ROOT = "A" * 43


def did(name: str) -> str:
    """Return a did:x509 that nobody holds the key of."""
    return f"did:x509:0:sha256:{ROOT}::subject:O:{name}"


def dataset_json(name: str, *, provider: str, units: int = 220) -> dict[str, Any]:
    return {
        "id": name,
        "name": f"Data set {name}",
        "provider": provider,
        "url": f"file:///blobs/{name}.sealed",
        "digest": DIGEST,
        "size": 1_000_000,
        "version": "1",
        "key": {"vault": "https://127.0.0.1:8443", "name": f"{name}-key"},
        "units": units,
        "format": "slices",
    }


def privacy_json(name: str, *, epsilon: float = 8.0, delta: float = 0.0005) -> dict[str, Any]:
    return {
        "dataset": name,
        "run": {"epsilon": epsilon, "delta": delta},
        "total": {"epsilon": 2 * epsilon, "delta": 2 * delta},
        "overall": {"epsilon": 4 * epsilon, "delta": 4 * delta},
        "unit": "patient",
        "adjacency": "add-remove",
        "maxGradNorm": 1.0,
        "maxSteps": 1000,
    }


def contract_json() -> dict[str, Any]:
    """Return a fresh contract document of two providers."""
    return {
        "schemaVersion": "1.0",
        "id": "0f7e6a52-0000-4000-8000-000000000001",
        "title": "Tumour segmentation",
        "purpose": "TRAINING",
        "startTime": "2026-01-01T00:00:00Z",
        "expiryTime": "2027-01-01T00:00:00Z",
        "tdc": {"id": did("Developer"), "name": "Developer"},
        "tdps": [
            {"id": did("Hospital-A"), "name": "Hospital A"},
            {"id": did("Hospital-B"), "name": "Hospital B"},
        ],
        "ccrp": {"id": did("Cloud"), "name": "Cloud"},
        "datasets": [
            dataset_json("mri-a", provider=did("Hospital-A")),
            dataset_json("mri-b", provider=did("Hospital-B")),
        ],
        "baseModels": [
            {
                key: value
                for key, value in dataset_json("base", provider=did("Developer")).items()
                if key not in {"units", "format"}
            }
        ],
        "constraints": {
            "privacy": [privacy_json("mri-a"), privacy_json("mri-b")],
            "dataUse": [
                {"dataset": "mri-a", "join": True, "privateOnly": True},
                {"dataset": "mri-b", "join": True, "privateOnly": True},
            ],
            "models": ["unet2d"],
            "maxParameters": 10_000_000,
            "metricsOnPrivateData": "withheld",
        },
        "attestation": {
            "authorities": ["https://127.0.0.1:9443"],
            "hostData": ["b" * 64],
            "compliance": ["azure-compliant-uvm"],
            "minimumGuestSvn": 100,
            "maxTokenAgeSeconds": 600,
        },
        "policy": {"id": "depa", "version": "1.0.0", "digest": DIGEST},
        "output": {
            "recipient": did("Developer"),
            "publicKey": ROOT,
            "url": "file:///blobs/output",
        },
        "terms": {"payment": {}, "revocation": {}},
    }


def train_json(**changes: Any) -> dict[str, Any]:
    """Return a training stage that the sample contract allows, with some fields changed."""
    config: dict[str, Any] = {
        "model": {"kind": "unet2d", "inChannels": 1, "outChannels": 1},
        "baseWeights": "base",
        "dataset": {"kind": "slices", "size": [64, 64]},
        "loss": {"class": "BCEWithLogitsLoss", "params": {}},
        "optimizer": {"name": "Adam", "params": {"lr": 0.003}},
        "steps": 10,
        "batchSize": 88,
        "isPrivate": True,
        "privacyParams": {
            "epsilon": 8.0,
            "delta": 0.0005,
            "maxGradNorm": 0.5,
            "unit": "patient",
            "adjacency": "add-remove",
        },
        "metrics": ["dice_score"],
        "taskType": "segmentation",
        "output": "safetensors",
    }
    return {**config, **changes}


def pipeline_json(contract: str, **changes: Any) -> dict[str, Any]:
    """Return a pipeline under a contract, with some fields of its training stage changed."""
    return {
        "version": "1.0",
        "contract": contract,
        "name": "segment",
        "pipeline": [
            {"name": "DirectoryJoin", "config": {"datasets": ["mri-a", "mri-b"]}},
            {"name": "Train_DL", "config": train_json(**changes)},
        ],
    }
