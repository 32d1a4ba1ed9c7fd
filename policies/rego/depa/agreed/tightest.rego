# METADATA
# title: The tightest of the limits
# description: |
#   What is within these is within the limits of every data set. They are stated where nothing is
#   wrong with the terms, so there is a data set, and each has limits.
package depa.agreed

tightest := {
	"microEpsilon": min([limit.run.microEpsilon | some limit in input.contract.privacy]),
	"deltaTrillionths": min([limit.run.deltaTrillionths | some limit in input.contract.privacy]),
	"totalMicroEpsilon": min([limit.total.microEpsilon | some limit in input.contract.privacy]),
	"overallMicroEpsilon": min([limit.overall.microEpsilon | some limit in input.contract.privacy]),
	"maxGradNormMicro": min([limit.maxGradNormMicro | some limit in input.contract.privacy]),
	"maxSteps": min([limit.maxSteps | some limit in input.contract.privacy]),
	"maxEpochs": min([limit.maxEpochs | some limit in input.contract.privacy]),
	"maxSamplingBillionths": min([limit.maxSamplingBillionths | some limit in input.contract.privacy]),
	"maxSamplesPerUnit": min([limit.maxSamplesPerUnit | some limit in input.contract.privacy]),
	"minNoiseMicro": max([limit.minNoiseMicro | some limit in input.contract.privacy]),
	"unit": sort({limit.unit | some limit in input.contract.privacy}),
	"adjacency": sort({limit.adjacency | some limit in input.contract.privacy}),
	"mostUnits": max([item.units | some item in input.contract.datasets]),
	"sumUnits": sum([item.units | some item in input.contract.datasets]),
	# False comes before true.
	"join": min([use.join | some use in input.contract.dataUse]),
}
