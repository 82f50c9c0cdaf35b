"""Every name of the emulator that is replaced: where it is, by what, and why. Nothing else of the emulator is changed.

The order is that of the list; a later entry for the same name wraps the earlier one. What is replaced with ``instead``
is ours alone; what is replaced with ``around`` still calls the emulator's own.
"""

from __future__ import annotations

from localaws.apigateway import deployments, functions, gateway_responses, trials
from localaws.asgi import Handler
from localaws.cloudformation import (
    api_gateway_accounts,
    lambda_functions,
    openapi,
    resource_types,
    rest_apis,
    rotation_schedules,
    secrets,
    stack_status,
    stages,
    web_acl_associations,
)
from localaws.cloudformation.domain_names import TYPE as DOMAIN_NAME
from localaws.cloudformation.domain_names import DomainNames
from localaws.cloudwatch import alarms, embedded_metrics
from localaws.iam import actions, authorizations, delegated, policy_simulator
from localaws.iam.late_policies import LatePolicies
from localaws.kms import key_policies
from localaws.kms.late_keys import LateKeys
from localaws.process.patching import Replacement, around, instead
from localaws.sqs import batching
from localaws.sqs.purging import Purging
from localaws.workers import concurrency, layers
from localaws.workers.concurrency import Concurrency

_APP = "ministack.app"
_ACTIONS = "ministack.core.iam_actions"
_EVALUATOR = "ministack.core.iam_evaluator"
_RUNTIME = "ministack.core.lambda_runtime"
_HTTP_APIS = "ministack.services.apigateway"
_REST_APIS = "ministack.services.apigateway_v1"
_PROVISIONERS = "ministack.services.cloudformation.provisioners"
_CHANGE_SETS = "ministack.services.cloudformation.changesets"
_STACKS = "ministack.services.cloudformation.stacks"
_CLOUDWATCH = "ministack.services.cloudwatch"
_LOGS = "ministack.services.cloudwatch_logs"
_EVENTBRIDGE = "ministack.services.eventbridge"
_IAM = "ministack.services.iam"
_LAMBDA = "ministack.services.lambda_svc"
_SNS = "ministack.services.sns"
_SQS = "ministack.services.sqs"
_TAGGING = "ministack.services.tagging"


def replacements(
    *,
    secrets_manager: Handler,
    api_gateway: Handler,
    executions: Concurrency,
    keys: LateKeys,
    policies: LatePolicies,
    domain_names: DomainNames,
    purging: Purging,
) -> tuple[Replacement, ...]:
    """Return the list; the arguments have a state, and the two handlers wrap the emulator's own by themselves."""
    return (
        Replacement(
            _APP,
            "SERVICE_HANDLERS[secretsmanager]",
            instead(secrets_manager),
            "rotates nothing, overwrites versions, keeps a label on two versions, and reads are never late",
        ),
        Replacement(
            _APP,
            "SERVICE_HANDLERS[apigateway]",
            instead(api_gateway),
            "does not update custom domains, reads no truststore, and never refuses a stage's logging",
        ),
        Replacement(
            _LAMBDA,
            "_acquire_execution_slot",
            around(executions.acquire),
            "the quota is what the machine can bear, and what Lambda invokes by itself is given up where it is reached",
        ),
        Replacement(
            _LAMBDA,
            "_put_function_concurrency",
            around(executions.reserve),
            "reserves more than the account has",
        ),
        Replacement(
            _LAMBDA,
            "_get_account_settings",
            around(executions.account_settings),
            "an account's quota is what the machine can bear",
        ),
        Replacement(
            _PROVISIONERS,
            f"_RESOURCE_HANDLERS[{DOMAIN_NAME}]",
            instead(domain_names.handlers()),
            "an update creates the domain anew, and so resets what was set since",
        ),
        *_STATELESS,
        Replacement(
            _SQS,
            "_HANDLERS[PurgeQueue]",
            around(purging.purge),
            "a queue may be purged again at once",
        ),
        Replacement(
            _SQS,
            "_expire_retained",
            around(purging.sweep),
            "what is sent to a queue that is being purged stays",
        ),
        Replacement(
            _APP,
            "SERVICE_HANDLERS[kms]",
            around(keys.handle),
            "a new key can be used at once",
        ),
        Replacement(
            _TAGGING,
            "resource_tags",
            around(keys.resource_tags),
            "the tags of a key count for authorization at once",
        ),
        Replacement(
            _TAGGING,
            "_COLLECTORS[kms]",
            around(keys.tagged_keys),
            "the tagging API shows a key at once",
        ),
        Replacement(
            _EVALUATOR,
            "_gather_role_policies",
            around(policies.of_role),
            "a change of a role's policies counts at once",
        ),
        Replacement(
            _EVALUATOR,
            "enforce",
            around(policies.enforce),
            "a change of a role's policies counts at once",
        ),
    )


_STATELESS = (
    # API Gateway
    Replacement(
        _REST_APIS,
        "_call_lambda_raw",
        around(functions.invoke_integration),
        "events lack what the client sent and its certificate; functions are invoked without leave and without end",
    ),
    Replacement(
        _REST_APIS,
        "_invoke_authorizer_lambda",
        around(functions.invoke_authorizer),
        "events of authorizers lack the same, and authorizers are invoked without leave",
    ),
    Replacement(
        _REST_APIS,
        "_lambda_proxy_response",
        around(functions.read_proxy_answer),
        "tells the client why a function's answer is refused, remaps no header, and knows no limit of size",
    ),
    Replacement(
        _HTTP_APIS,
        "run_reentrant",
        around(functions.invoke_from_http_api),
        "events of HTTP APIs lack the domain and the client certificate",
    ),
    Replacement(
        _REST_APIS,
        "_gateway_error_response",
        around(gateway_responses.respond),
        "gateway responses have one media type, and of $context the error alone",
    ),
    Replacement(
        _REST_APIS,
        "_create_deployment",
        around(deployments.create),
        "a deployment does not keep the definition that it deploys",
    ),
    *(
        Replacement(
            _REST_APIS,
            f"{store}.__class__",
            deployments.view_of(store),
            "a request is served by the API as it is now, not as it was deployed",
        )
        for store in deployments.STORES
    ),
    Replacement(
        _REST_APIS,
        "_OPENAPI_HTTP_METHODS",
        openapi.with_any,
        "an import leaves out x-amazon-apigateway-any-method",
    ),
    Replacement(
        _APP,
        "SERVICE_HANDLERS[apigateway]",
        around(trials.try_authorizers),
        "knows no TestInvokeAuthorizer",
    ),
    # CloudFormation
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{rest_apis.TYPE}]",
        rest_apis.handlers,
        "leaves out most of an OpenAPI body, and makes a new API of a changed one",
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{api_gateway_accounts.TYPE}]",
        api_gateway_accounts.handlers,
        "sets the role of an account that has no API yet",
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{stages.TYPE}]",
        stages.handlers,
        "leaves out access logs and method settings",
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{secrets.TYPE}]",
        secrets.handlers,
        "Ref is the name, a secret without a value gets an empty version, and a name that is taken is no obstacle",
    ),
    Replacement(
        _CHANGE_SETS,
        f"_IMPORT_LOOKUPS[{secrets.TYPE}]",
        instead(secrets.IMPORT),
        "the type cannot be imported",
        new=True,
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{alarms.TYPE}]",
        alarms.handlers,
        "refuses alarms on metric math",
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{rotation_schedules.TYPE}]",
        instead(rotation_schedules.handlers()),
        "the type is unknown",
        new=True,
    ),
    Replacement(
        _PROVISIONERS,
        f"_REPLACING_PROPERTIES[{rotation_schedules.TYPE}]",
        instead(rotation_schedules.REPLACING),
        "the type is unknown",
        new=True,
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{web_acl_associations.TYPE}]",
        instead(web_acl_associations.handlers()),
        "the type is unknown",
        new=True,
    ),
    Replacement(
        _PROVISIONERS,
        f"_REPLACING_PROPERTIES[{web_acl_associations.TYPE}]",
        instead(web_acl_associations.REPLACING),
        "the type is unknown",
        new=True,
    ),
    Replacement(
        _STACKS,
        "_add_event",
        around(stack_status.record),
        "tells nobody of the status of a stack",
    ),
    Replacement(
        _STACKS,
        "_runs_on_worker_thread",
        around(resource_types.runs_on_worker_thread),
        "a fixed list says which types leave the event loop, which those that call services have to",
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{lambda_functions.TYPE}]",
        lambda_functions.handlers,
        "reserves nothing",
    ),
    Replacement(
        _PROVISIONERS,
        f"_RESOURCE_HANDLERS[{lambda_functions.MAPPING_TYPE}]",
        lambda_functions.mapping_handlers,
        "maps a queue that may start more executions than are reserved",
    ),
    # CloudWatch
    Replacement(
        _CLOUDWATCH,
        "_evaluate_alarm",
        instead(alarms.evaluate),
        "goes by a metric's name whatever its dimensions, and never by what is missing",
    ),
    Replacement(
        _APP,
        "SERVICE_HANDLERS[monitoring]",
        around(alarms.handle),
        "evaluates alarms only when a metric comes in",
    ),
    Replacement(
        _LOGS,
        "_append_log_events",
        around(embedded_metrics.append_log_events),
        "lines of the embedded metric format stay lines",
    ),
    # Lambda
    Replacement(
        _LAMBDA,
        "_invoke",
        around(concurrency.await_answer),
        "does not say whether somebody waits for the answer",
    ),
    *(
        Replacement(
            _REST_APIS,
            name,
            around(concurrency.await_answer),
            "does not say whether somebody waits for the answer",
        )
        for name in ("_call_lambda_raw", "_invoke_authorizer_lambda")
    ),
    Replacement(
        _LAMBDA,
        "invoke_async_with_retry",
        around(concurrency.take_event),
        "an event is not told from an invocation whose answer is awaited",
    ),
    Replacement(
        _LAMBDA,
        "_create_esm",
        around(concurrency.create_mapping),
        "maps a queue that may start more executions than are reserved",
    ),
    Replacement(
        _LAMBDA,
        "_update_esm",
        around(concurrency.update_mapping),
        "maps a queue that may start more executions than are reserved",
    ),
    Replacement(
        _RUNTIME,
        "zipfile",
        instead(layers.ARCHIVES),
        "unpacks every layer for every worker",
    ),
    # SQS
    Replacement(
        _SQS,
        "_receive_messages_for_esm",
        instead(batching.receive),
        "hands out ten messages at most, and never waits for more",
    ),
    # IAM
    Replacement(
        _ACTIONS,
        "extract_iam_action",
        around(actions.action),
        "batch calls of SQS need actions of their own; calls of Lambda are taken for others, or let pass",
    ),
    Replacement(
        _ACTIONS,
        "_BOTOCORE_SERVICE_MAP[lambda]",
        instead(["lambda"]),
        "the model of Lambda is not asked which call a request is",
        new=True,
    ),
    Replacement(
        _ACTIONS,
        "extract_resource_arn",
        around(actions.resource),
        "the policy simulator is not about the principal whose policies are simulated",
    ),
    Replacement(
        _ACTIONS,
        "request_tag_context",
        around(actions.condition_keys),
        "PutEvents has no condition keys",
    ),
    Replacement(
        _IAM,
        "_IAM_HANDLERS[SimulatePrincipalPolicy]",
        around(policy_simulator.simulate),
        "knows no context keys, and looks at the first resource only",
    ),
    Replacement(
        _EVALUATOR,
        "evaluate",
        around(authorizations.evaluate),
        "says whether, not by which statement",
    ),
    Replacement(
        _EVALUATOR,
        "enforce",
        around(authorizations.enforce),
        "says whether, not by which statement",
    ),
    Replacement(
        _APP,
        "SERVICE_HANDLERS[kms]",
        around(delegated.authorize_tags_of_new_key),
        "CreateKey with tags takes no kms:TagResource",
    ),
    Replacement(
        _APP,
        "SERVICE_HANDLERS[kms]",
        around(key_policies.look_at_policies),
        "takes any key policy: one with principals that are not there, or that locks the caller out",
    ),
    Replacement(
        _EVALUATOR,
        "_resolve_condition_key",
        around(actions.condition_key),
        "aws:PrincipalArn of who calls by a role is the session's ARN, not the role's",
    ),
    Replacement(
        _APP,
        "SERVICE_HANDLERS[s3]",
        around(delegated.hide_missing_objects),
        "a caller who may not list a bucket learns that an object is missing",
    ),
    Replacement(
        _LAMBDA,
        "_emit_lambda_logs",
        around(delegated.emit_lambda_logs),
        "writes logs of a function whose role may not",
    ),
    Replacement(
        _SQS,
        "_receive_messages_for_esm",
        around(delegated.receive_messages),
        "polls a queue for a function whose role may not",
    ),
    Replacement(
        _SQS,
        "_delete_messages_for_esm",
        around(delegated.delete_messages),
        "deletes messages for a function whose role may not",
    ),
    Replacement(
        _EVENTBRIDGE,
        "_invoke_target",
        around(delegated.invoke_target),
        "does not say to a target for which rule it is invoked",
    ),
    Replacement(
        _EVENTBRIDGE,
        "_dispatch_to_lambda",
        around(delegated.dispatch_to_lambda),
        "a rule invokes a function whose policy does not let it",
    ),
    Replacement(
        _EVENTBRIDGE,
        "_dispatch_to_sqs",
        around(delegated.dispatch_to_sqs),
        "a rule sends to a queue whose policy does not let it",
    ),
    Replacement(
        _CLOUDWATCH,
        "_dispatch_alarm_actions",
        around(delegated.dispatch_alarm_actions),
        "does not say to a topic which alarm publishes",
    ),
    Replacement(
        _SNS,
        "_fanout",
        around(delegated.fan_out),
        "an alarm publishes to a topic whose policy does not let it",
    ),
)
