# METADATA
# title: Facts that are allowed
# description: Two hospitals, one consumer; the tests of each package change one thing at a time.
package depa.examples

digest(letter) := concat("", ["sha256:", concat("", [letter | some _ in numbers.range(1, 64)])])

bundle := {"digest": digest("b"), "version": "1.0.0"}

# 2026-11-21T12:00:00Z in microseconds.
now := 1795262400000000

day := 86400000000

limit(dataset) := {
	"dataset": dataset,
	"run": {"microEpsilon": 8000000, "deltaTrillionths": 500000000},
	"total": {"microEpsilon": 10000000, "deltaTrillionths": 1000000000},
	"overall": {"microEpsilon": 20000000, "deltaTrillionths": 2000000000},
	"unit": "patient",
	"adjacency": "add-remove",
	"maxGradNormMicro": 1000000,
	"maxSteps": 1000,
	"maxEpochs": 50,
	"maxSamplingBillionths": 500000000,
	"maxSamplesPerUnit": 4,
	"minNoiseMicro": 700000,
}

sealed(id, provider, vault) := {
	"id": id,
	"provider": provider,
	"digest": digest("d"),
	"key": {"vault": vault, "name": "kek"},
}

dataset(id, provider, vault) := object.union(sealed(id, provider, vault), {"units": 200})

party_rule := {"provider": "did:a", "name": "a", "digest": digest("7")}

terms := {
	"digest": digest("c"),
	"schemaVersion": "1.0",
	"purpose": "TRAINING",
	"startsAt": now - day,
	"expiresAt": now + (30 * day),
	"tdc": "did:tdc",
	"tdps": ["did:a", "did:b"],
	"ccrp": "did:ccrp",
	"datasets": [dataset("set-a", "did:a", "https://a.example"), dataset("set-b", "did:b", "https://b.example")],
	"baseModels": [sealed("base", "did:tdc", "https://tdc.example")],
	"privacy": [limit("set-a"), limit("set-b")],
	"dataUse": [
		{"dataset": "set-a", "join": true, "privateOnly": true},
		{"dataset": "set-b", "join": true, "privateOnly": true},
	],
	"models": ["unet2d", "onnx"],
	"losses": ["BCEWithLogitsLoss", "DiceLoss"],
	"metrics": ["dice_score"],
	"outputs": ["safetensors", "onnx"],
	"maxParameters": 1000000,
	"metricsOnPrivateData": "withheld",
	"attestation": {
		"authorities": ["https://maa.example"],
		"hostData": ["launch-policy"],
		"compliance": ["azure-compliant-uvm"],
		"minimumGuestSvn": 2,
		"minimumTcb": {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115},
		"measurements": ["measurement"],
		"maxTokenAge": 600000000,
	},
	"policy": {"id": "depa", "version": "1.0.0", "digest": digest("b"), "partyRules": [party_rule]},
	"recipient": "did:tdc",
	"unfilled": [],
}

contract := {
	"bundle": bundle,
	"now": now,
	"contract": terms,
	"signatures": [{
		"signer": signer,
		"signedAt": now - 1000000,
		"keyValidFrom": now - day,
		"keyValidUntil": now + day,
	} |
		some signer in ["did:tdc", "did:a", "did:b", "did:ccrp"]
	],
	"executed": true,
	"revokedBy": [],
	"supersededBy": [],
}

charge(dataset) := {
	"dataset": dataset,
	"tdc": "did:tdc",
	"microEpsilon": 7990000,
	"deltaTrillionths": 500000000,
	"noiseMicro": 900000,
	"samplingBillionths": 200000000,
	"steps": 100,
	"metricsNoiseMicro": 0,
}

training := object.union(contract, {
	"pipeline": {
		"digest": digest("e"),
		"contract": digest("c"),
		"inputs": [
			{"id": "set-a", "digest": digest("d"), "access": "read"},
			{"id": "set-b", "digest": digest("d"), "access": "read"},
		],
		"foreignTexts": [],
		"stages": [
			{"path": "/pipeline/0", "name": "DirectoryJoin", "datasets": ["set-a", "set-b"]},
			{
				"path": "/pipeline/1",
				"name": "Train_DL",
				"datasets": ["set-a", "set-b"],
				"model": "unet2d",
				"parameters": 120000,
				"baseWeights": ["base"],
				"batchCoupled": [],
				"isPrivate": true,
				"privacy": {
					"microEpsilon": 8000000,
					"deltaTrillionths": 500000000,
					"maxGradNormMicro": 500000,
					"unit": "patient",
					"adjacency": "add-remove",
				},
				"steps": 100,
				"batchUnits": 80,
				"samplesPerUnit": 2,
				"unitGradient": "mean",
				"losses": ["DiceLoss"],
				"metrics": [{"name": "dice_score", "on": "public"}],
				"privateMetricsMicroEpsilon": 0,
				"output": "safetensors",
			},
		],
	},
	"charges": [charge("set-a"), charge("set-b")],
	"budgets": [
		{"dataset": "set-a", "tdcAfter": 8000000, "overallAfter": 8000000},
		{"dataset": "set-b", "tdcAfter": 8000000, "overallAfter": 8000000},
	],
})

binding := {"contract": digest("c"), "run": "run-1", "pipeline": digest("e"), "nonce": digest("f")}

attestation := {
	"bundle": bundle,
	"now": now,
	"contract": {"digest": digest("c"), "attestation": terms.attestation, "policy": terms.policy},
	"claims": {
		"issuer": "https://maa.example",
		"type": "sevsnpvm",
		"compliance": "azure-compliant-uvm",
		"debuggable": false,
		"migratable": false,
		"vmpl": 0,
		"hostData": "launch-policy",
		"guestSvn": 2,
		"tcb": {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115},
		"measurement": "measurement",
		"issuedAt": now - 1000000,
		"expiresAt": now + 600000000,
		"bound": binding,
		"keys": ["release", "report"],
	},
	"expected": binding,
}

asked(kind, file, vault) := {
	"kind": kind,
	"file": file,
	"digest": digest("d"),
	"vault": vault,
	"name": "kek",
}

release := object.union(contract, {
	"run": {
		"id": "run-1",
		"state": "approved",
		"contract": digest("c"),
		"pipeline": digest("e"),
		"reads": {"datasets": ["set-a", "set-b"], "baseModels": ["base"]},
		"releasingTo": [],
		"reserved": ["set-a", "set-b"],
	},
	"approvals": [{
		"run": "run-1",
		"contract": digest("c"),
		"pipeline": digest("e"),
		"approvedAt": now - 1000000,
		"expiresAt": now + day,
		"charged": ["set-a", "set-b"],
	}],
	"request": {
		"keys": [
			asked("datasets", "set-a", "https://a.example"),
			asked("datasets", "set-b", "https://b.example"),
			asked("baseModels", "base", "https://tdc.example"),
		],
		"token": digest("1"),
		"nonce": digest("f"),
		"nonceUsedWith": [],
	},
})
