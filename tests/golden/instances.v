// inner.v
module inner (
  input  wire signed [3:0] a,
  input  wire signed [3:0] b,
  output wire signed [4:0] result
);

  // conv
  wire signed [4:0] d = {a[3], a} - {b[3], b};

  assign result = d;
endmodule

// kernel.v
module kernel (
  input  wire              clk,
  input  wire              ce,
  input  wire        [6:0] v,
  input  wire signed [3:0] k,
  output wire signed [8:0] result
);

  // conv
  wire signed [3:0] a = v[3:0];
  wire        [2:0] b = v[6:4];
  wire signed [3:0] w = {1'd0, b};
  wire signed [4:0] d;
  (* use_dsp = "no", syn_multstyle = "logic" *)
  wire signed [8:0] m;
  assign m = d * k;
  reg  signed [8:0] r;
  inner d_2 (.a(a), .b(w), .result(d));
  always @(posedge clk) if (ce) begin
    r <= m;
  end

  assign result = r;
endmodule

// instances.v
module instances (
  input  wire        clk,
  input  wire        ce,
  input  wire [6:0]  x,
  input  wire [6:0]  z,
  output wire [17:0] y
);

  // conv
  wire signed [8:0]  a;
  wire signed [8:0]  b;
  wire        [17:0] y_2 = {b, a};
  kernel a_2 (.clk(clk), .ce(ce), .v(x), .k(-4'sd3), .result(a));
  kernel b_2 (.clk(clk), .ce(ce), .v(z), .k(-4'sd3), .result(b));

  assign y = y_2;
endmodule
