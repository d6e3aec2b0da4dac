// registers.v
module registers (
  input  wire              clk,
  input  wire              ce,
  input  wire signed [3:0] x,
  input  wire signed [3:0] y,
  input  wire              valid_in,
  output wire              valid_out,
  output wire signed [4:0] s,
  output wire signed [3:0] late
);

  // layer
  wire signed [4:0] s_2 = {x[3], x} + {y[3], y};
  reg  signed [4:0] r1;
  reg  signed [4:0] r2;
  reg  signed [4:0] r3;
  always @(posedge clk) if (ce) begin
    r1 <= s_2;
    r2 <= r1;
    r3 <= r2;
  end

  reg  signed [3:0] d1;
  reg  signed [3:0] d2;
  reg  signed [3:0] d3;
  reg               valid_in_d1 = 1'd0;
  reg               valid_in_d2 = 1'd0;
  reg               valid_in_d3 = 1'd0;
  always @(posedge clk) if (ce) begin
    d1          <= x;
    d2          <= d1;
    d3          <= d2;
    valid_in_d1 <= valid_in;
    valid_in_d2 <= valid_in_d1;
    valid_in_d3 <= valid_in_d2;
  end

  assign valid_out = valid_in_d3;
  assign s         = r3;
  assign late      = d3;
endmodule
