// Sends 500 agents' spans with one model call each through the JavaScript SDK, which is set up by
// OTEL_* variables alone.
const { trace, context } = require("@opentelemetry/api");
const { NodeSDK } = require("@opentelemetry/sdk-node");

const sdk = new NodeSDK();
sdk.start();
const tracer = trace.getTracer("agents");
for (let number = 0; number < 500; number += 1) {
  const agent = tracer.startSpan("invoke_agent", {
    attributes: { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": `role${number % 3}` },
  });
  const call = tracer.startSpan(
    "chat",
    {
      attributes: {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "standin-small",
        "gen_ai.usage.input_tokens": 100 + number,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.response.finish_reasons": ["stop"],
      },
    },
    trace.setSpan(context.active(), agent),
  );
  call.end();
  agent.end();
}
sdk.shutdown().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
