"""`ansible-inventory --list` of a dynamic inventory: `clouds.py CLOUD FILE PLAYBOOK_FOLDER`.

The plug-ins are the real ones. What their clouds' libraries would have fetched comes from here, in the form of the
clouds' own APIs: DescribeInstances of EC2, instances.aggregatedList of Compute Engine, and virtualMachines,
instanceView, networkInterfaces and publicIPAddresses of Azure Resource Manager. Filters that the cloud
evaluates are evaluated.
"""

from __future__ import annotations

import re
import sys
import types
from typing import Any

from ansible.cli.inventory import InventoryCLI
from ansible.plugins.loader import inventory_loader

PLUGINS = {
    "aws": "amazon.aws.aws_ec2",
    "gcp": "google.cloud.gcp_compute",
    "azure": "azure.azcollection.azure_rm",
}


class Command(InventoryCLI):  # type: ignore[misc]  # Ansible has no types
    def __init__(self, cloud: str, file: str, folder: str) -> None:
        super().__init__(["ansible-inventory", "--inventory", file, "--playbook-dir", folder, "--list"])
        self.cloud = cloud

    def _play_prereqs(self) -> Any:
        """The first moment at which plug-ins can be loaded, and the last before they are used."""
        plugin = type(inventory_loader.get(PLUGINS[self.cloud]))
        {"aws": fake_aws, "gcp": fake_gcp, "azure": fake_azure}[self.cloud](plugin, sys.modules[plugin.__module__])
        return super()._play_prereqs()


# What else an instance has; which values is of no interest, but the plug-in makes variables of all of them.
OTHER_FIELDS = (
    "AmiLaunchIndex", "Architecture", "BlockDeviceMappings", "BootMode", "CapacityReservationSpecification",
    "ClientToken",
    "CpuOptions", "CurrentInstanceBootMode", "EbsOptimized", "EnaSupport", "EnclaveOptions", "HibernationOptions",
    "Hypervisor", "IamInstanceProfile", "ImageId", "InstanceLifecycle", "InstanceType", "KeyName", "LaunchTime",
    "MaintenanceOptions", "MetadataOptions", "Monitoring", "NetworkInterfaces", "NetworkPerformanceOptions", "Operator",
    "PlatformDetails", "PrivateDnsNameOptions", "ProductCodes", "RootDeviceName", "RootDeviceType", "SecurityGroups",
    "SourceDestCheck", "SpotInstanceRequestId", "StateReason", "StateTransitionReason", "SubnetId", "TpmSupport",
    "UsageOperation", "UsageOperationUpdateTime", "VirtualizationType", "VpcId",
)  # fmt: skip


def instance(number: int, role: str, state: str) -> dict[str, Any]:
    return {
        "InstanceId": f"i-000{number}",
        "State": {"Code": 0, "Name": state},
        "PrivateIpAddress": f"10.1.0.{number}",
        "PublicIpAddress": f"198.51.100.{number}",
        "PrivateDnsName": f"ip-10-1-0-{number}.eu-central-1.compute.internal",
        "PublicDnsName": f"ec2-{number}.eu-central-1.compute.amazonaws.com",
        "Placement": {"AvailabilityZone": "eu-central-1a", "Tenancy": "default"},
        **{name: {} for name in OTHER_FIELDS},
        "Tags": [{"Key": "Name", "Value": f"builder {number}"}, {"Key": "Role", "Value": role}],
    }


INSTANCES = [
    instance(1, "github-runner", "running"),
    instance(2, "web", "running"),
    instance(3, "github-runner", "stopped"),
    instance(4, "github-runner", "running"),
]


class Ec2:
    """A client of one region, as far as DescribeInstances goes."""

    def get_paginator(self, operation: str) -> Ec2:
        assert operation == "describe_instances"
        return self

    def paginate(self, Filters: list[dict[str, Any]]) -> types.SimpleNamespace:  # noqa: N803  (its name there)
        found = [value for value in INSTANCES if all(self.has(value, wanted) for wanted in Filters)]
        reservations = [{"OwnerId": "1", "ReservationId": "r-1", "Instances": found}]
        return types.SimpleNamespace(build_full_result=lambda: {"Reservations": reservations})

    def has(self, value: dict[str, Any], wanted: dict[str, Any]) -> bool:
        tags = {f"tag:{tag['Key']}": tag["Value"] for tag in value["Tags"]}
        return {"instance-state-name": value["State"]["Name"], **tags}[wanted["Name"]] in wanted["Values"]


def fake_aws(plugin: Any, module: Any) -> None:
    plugin.require_aws_sdk = lambda _self, **_: True
    plugin.client = lambda _self, service, region: {("ec2", "eu-central-1"): Ec2()}[service, region]


COMPUTE = "https://www.googleapis.com/compute/v1/projects/my-project"


OTHER_KEYS = (
    "canIpForward", "cpuPlatform", "creationTimestamp", "deletionProtection", "disks", "fingerprint", "id", "kind",
    "labelFingerprint", "lastStartTimestamp", "satisfiesPzi", "scheduling", "serviceAccounts", "shieldedInstanceConfig",
    "shieldedInstanceIntegrityPolicy", "startRestricted", "tags",
)  # fmt: skip


def machine(number: int, role: str, status: str) -> dict[str, Any]:
    outside = {"type": "ONE_TO_ONE_NAT", "natIP": f"198.51.100.{number}"}
    return {
        **{name: {} for name in OTHER_KEYS},
        "name": f"builder-{number}",
        "status": status,
        "labels": {"role": role} if role else {},
        "zone": f"{COMPUTE}/zones/europe-west3-a",
        "machineType": f"{COMPUTE}/zones/europe-west3-a/machineTypes/e2-standard-4",
        "selfLink": f"{COMPUTE}/zones/europe-west3-a/instances/builder-{number}",
        "networkInterfaces": [
            {
                "network": f"{COMPUTE}/global/networks/default",
                "subnetwork": f"{COMPUTE}/regions/europe-west3/subnetworks/default",
                "networkIP": f"10.1.0.{number}",
                "accessConfigs": [outside],
            }
        ],
    }


MACHINES = [
    machine(1, "github-runner", "RUNNING"),
    machine(2, "", "RUNNING"),
    machine(3, "github-runner", "TERMINATED"),
    machine(4, "github-runner", "RUNNING"),
]


class Google:
    """A signed-in session. Terms of a filter in brackets are all to be met."""

    def __init__(self, _module: object, product: str) -> None:
        assert product == "compute"

    def get(self, url: str, params: dict[str, str]) -> types.SimpleNamespace:
        assert url == f"{COMPUTE}/aggregated/instances"
        assert re.fullmatch(r"(\([\w.]+ = [\w-]+\) ?)+", params["filter"]), params["filter"]
        terms = re.findall(r"\(([\w.]+) = ([\w-]+)\)", params["filter"])
        found = [value for value in MACHINES if all(self.field(value, name) == wanted for name, wanted in terms)]
        nothing = {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
        body = {"items": {"zones/europe-west3-a": {"instances": found}, "zones/us-east1-b": nothing}}
        return types.SimpleNamespace(status_code=200, json=lambda: body, raise_for_status=lambda: None)

    def field(self, value: Any, name: str) -> Any:
        for part in name.split("."):
            value = value.get(part, {})
        return value


def fake_gcp(plugin: Any, module: Any) -> None:
    module.HAS_GOOGLE_LIBRARIES = True
    module.GcpSession = Google


GROUP = "/subscriptions/1/resourceGroups/runners/providers"


def virtual_machine(number: int, **more: Any) -> dict[str, Any]:
    """As the list has it: a machine without tags has no key for them."""
    return {
        "id": f"{GROUP}/Microsoft.Compute/virtualMachines/builder-{number}",
        "name": f"builder-{number}",
        "location": "westeurope",
        "properties": {
            "vmId": str(number),
            "provisioningState": "Succeeded",
            "hardwareProfile": {"vmSize": "Standard_D4s_v5"},
            "storageProfile": {"osDisk": {"name": "os", "osType": "Linux"}},
            "osProfile": {"computerName": f"builder-{number}", "linuxConfiguration": {}},
            "networkProfile": {"networkInterfaces": [{"id": f"{GROUP}/Microsoft.Network/networkInterfaces/{number}"}]},
        },
        **more,
    }  # fmt: skip


def azure_answer(url: str) -> Any:
    number = int(re.findall(r"\d+", url)[-1])
    state = "deallocated" if number == 3 else "running"
    address = f"{GROUP}/Microsoft.Network/publicIPAddresses/{number}"
    config = {"privateIPAddress": f"10.1.0.{number}", "primary": True, "publicIPAddress": {"id": address}}
    tags = {"tags": {"role": "github-runner"}}
    answers: dict[str, Any] = {
        f"{GROUP}/Microsoft.Compute/virtualMachines": {
            "value": [
                virtual_machine(1, **tags),
                virtual_machine(2, tags={"role": "web"}),
                virtual_machine(3, **tags),
                virtual_machine(4, **tags),
                virtual_machine(5),
            ]
        },
        f"{GROUP}/Microsoft.Compute/virtualMachines/builder-{number}/instanceView": {
            "statuses": [{"code": "ProvisioningState/succeeded"}, {"code": f"PowerState/{state}"}]
        },
        f"{GROUP}/Microsoft.Network/networkInterfaces/{number}": {
            "id": url,
            "name": f"nic-{number}",
            "properties": {"macAddress": "00-0D", "ipConfigurations": [{"properties": config}]},
        },
        address: {
            "id": address,
            "name": f"public-{number}",
            "properties": {"ipAddress": f"198.51.100.{number}"},
        },
    }
    return answers[url]


class Azure:
    """The client of the manager of all resources, and that of machines; which of them is all the same here."""

    def __init__(self, **_: object) -> None:
        self.virtual_machines = self

    def get(self, url: str, *_: object) -> types.SimpleNamespace:
        return types.SimpleNamespace(url=url)

    def instance_view(self, group: str, name: str) -> types.SimpleNamespace:
        assert group == "runners"
        return types.SimpleNamespace(computer_name=name, os_name="debian", os_version="12", hyper_v_generation="V2")


def sign_in(self: Any) -> None:
    endpoints = types.SimpleNamespace(resource_manager="https://management.azure.com/")
    self.azure_auth = types.SimpleNamespace(
        azure_credential_track2=None,
        subscription_id="1",
        _cloud_environment=types.SimpleNamespace(endpoints=endpoints),
    )
    self._clientconfig = self.azure_auth
    self.new_client = Azure()


def batch(self: Any, requests: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "responses": [
            {"name": request["name"], "httpStatusCode": 200, "content": azure_answer(request["url"])}
            for request in requests
        ]
    }


def fake_azure(plugin: Any, module: Any) -> None:
    plugin._credential_setup = sign_in
    plugin._send_batch = batch
    module.ComputeManagementClient = Azure
    module.parse_resource_id = lambda value: {"resource_group": value.split("/")[4]}


if __name__ == "__main__":
    sys.exit(Command(*sys.argv[1:]).run())
